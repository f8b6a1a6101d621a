"""The REST API: routes, who acts, and how refusals look on the wire."""
