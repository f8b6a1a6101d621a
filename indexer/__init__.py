"""The indexer: from the log's message events to the documents of the search index."""
