"""What is asked: the present state from the database, and the search with the searcher's own rights."""
