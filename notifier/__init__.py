"""The notifier: from the log's events to each user's inbox, and from the inbox to the user's sockets."""
