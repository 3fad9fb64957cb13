"""Errors that speak to the person who must act."""


class UserError(Exception):
    """What is wrong, where, and what to do about it, in words meant for the user.

    The command line prints the message and exits with code 1, without a traceback.
    Raise it for anything the user can mend: input files, parameters, free disk space.
    """
