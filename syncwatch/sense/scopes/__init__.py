"""What holds around running code: ranges, steps and permissions, for which thread or task, and who hears of them."""
