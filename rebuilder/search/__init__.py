"""The target `search`: the index made anew, proven beside the live one, and swapped in."""
