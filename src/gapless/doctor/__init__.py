"""The checks of `gapless doctor`: small functions, each with one finding and how to mend it."""
