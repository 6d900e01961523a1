"""How does a fill become an intent? The files, in the order in which a fill meets them:

watcher         reads the input stream in slices, one watcher at a time
lease           says which watcher that is
stream          reads, claims and counts the entries of the stream, as its consumer group
group_position  where that group is, what it lost, and how far entries were moved (pure)
router          parses each entry and decides which inbox it belongs to
route.lua       moves a batch to the inboxes, acknowledges it, and loads the books, in one step
inbox           the tracked books, and entries that do not come from the stream: freezes, releases, prices
brain           plans and commits books until nothing is left in their inboxes
ledger          loads books with their inboxes in one round trip, and commits them in another
loading         parses what was read: books, waiting entries, the state of the guards
symbol_rules    the ladder, the stops and the ATR of a symbol
overrides       the rules that a desk set for that symbol alone
plan            applies the entries and decides, before anything is written (pure)
commit          turns the plan into arguments, and the reply into a result
commit.lua      checks every guard again, then writes position, intents, journal and history in one step
sweep           each second: books without a wake-up, intents without a reply, fresh mark prices
mark_prices     where those prices come from
"""
