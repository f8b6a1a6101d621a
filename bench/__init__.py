"""What is measured: loads against the running product, on scratch stores, with the figures they gave."""
