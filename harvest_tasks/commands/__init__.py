"""The commands of the `harvest` command line: one file a noun, each thin over a module that reads or writes."""
