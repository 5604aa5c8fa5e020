"""Weekly playlists: one list a user and week, made in one night, delivered once, undoable.

::

    weeks       ISO weeks, and from when a user may hear one
    surface     the pipeline that makes lists where recsys.toml describes none
    states      what is known of the users at the cut-off, as files: the other input beside the release
    lists       release + states → rows, a pure function of a chunk of users
    quality     what a list must not be, asked of the rows and not of the pipeline
    runs        the night: chunks over processes, resumable
    spark       the same chunks over a cluster
    editions    immutable folders behind one pointer
    delivery    lists in Redis
    exports     lists as files for others
"""
