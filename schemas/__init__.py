"""What is said: messages, events, topics, documents and frames, with nothing about how they travel."""
