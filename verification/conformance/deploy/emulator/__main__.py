"""ministack with what it lacks for this project. Runs in ministack's own environment, started by ../account.py.

.rehearsal/ministack/bin/python verification/conformance/deploy/emulator
"""

from __future__ import annotations

import budget_resources  # modules of this folder, which is the first place Python looks
import ignored_properties
import rights
import sdk_integrations
from ministack import app

sdk_integrations.install()
budget_resources.install()
rights.install()
ignored_properties.install()  # last, so that it watches the resources of the other plug-ins too
app.main()
