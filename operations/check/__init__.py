"""What AWS answers for free before a run is paid for: one line each, with its fix (make check-aws).

Works before the first deployment and after it. Everything asked is read-only: the operations stand in clients.py.
"""
