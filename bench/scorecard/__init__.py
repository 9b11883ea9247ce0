"""The scorecard: `gapless conform` on the field, on every Python, and the field's managers under load."""
