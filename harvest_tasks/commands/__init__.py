"""The commands of the `harvest` command line, one file each: they parse options, call `operations`, and print."""
