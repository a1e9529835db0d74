"""``engine.scale: ray``: rows are worked out on a Ray cluster and kept on this machine.

connection.py  joins the cluster, or starts one on this machine
parcels.py     folders that a node may not have: adapters, small models
host.py        an actor: one engine, working on what it is handed
pool.py        hands rows to as many hosts as there is room for, and again where a host was lost
work.py        what runs there: an engine, an embedder
"""
