"""Commands that work on this host, and the entry of the command line.

Owns: ``hilum`` itself, which loads the module of one command; setting up, serving, migrating, backup and restore, the doctor, keys, the
sandbox, and commands that have ``--local``. Every other command is in ``surfaces.cli`` and uses the API.
Must not know: rules. A command calls services, and prints what they return.
"""
