"""The write API and the read side's front: commands in, events out, queries answered."""
