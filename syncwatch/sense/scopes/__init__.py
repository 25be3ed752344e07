"""What holds around running code, by thread and task: ranges, steps and permissions, and the hooks for ranges."""
