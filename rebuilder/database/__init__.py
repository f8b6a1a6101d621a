"""The target `database`: the write side's tables made anew beside the live ones, compared, and swapped in."""
