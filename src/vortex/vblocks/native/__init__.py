"""A core's layers in the native core."""
