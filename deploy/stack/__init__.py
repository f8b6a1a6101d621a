"""The real servers for development and tests (Kafka, PostgreSQL, Elasticsearch) on loopback.

Standard library only, so it runs before anything of the project is installed.
"""
