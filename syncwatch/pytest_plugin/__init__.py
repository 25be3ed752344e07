"""The pytest plugin, by which a test says that its code must not wait: markers, a fixture and options."""
