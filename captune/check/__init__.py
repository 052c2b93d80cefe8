"""What AWS answers for free before a run is paid for: one line each, with its fix (captune check).

Works before the first deployment and after it. Everything that is asked is read-only and not charged for.
"""
