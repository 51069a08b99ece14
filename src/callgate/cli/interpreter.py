"""When the interpreter looks for garbage while a gate runs."""

import gc

# A call leaves nothing behind in a cycle, so that nearly everything the collector finds is alive.  With Python's 700 it
# looks at every twentieth call, with this at one in a thousand, and then for 1 ms.
YOUNG_OBJECTS = 5_000
# So many looks at the young objects before the older ones are looked at; Python has 10.
YOUNG_LOOKS = 20


def settle() -> None:
    """Once everything is loaded: leave that alone from now on.

    A full collection goes through each of the 80,000 to 150,000 objects of the program itself, and every call waits for
    it, 20 to 70 ms; without them it takes less than 10 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, YOUNG_LOOKS, YOUNG_LOOKS)
