"""What the commands do, with the library: loaded when a command is given, one file a command."""
