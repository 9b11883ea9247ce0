"""What `gapless up` makes on a host and `gapless down` removes."""
