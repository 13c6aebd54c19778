"""Files and directories: durable writes, private modes, and removal of trees."""
