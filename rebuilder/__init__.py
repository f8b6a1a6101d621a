"""Makes a store anew out of the log, proves it, and puts it in place of the old one."""
