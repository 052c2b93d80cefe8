#!/usr/bin/env python3
"""The CDK app: settings in, three stacks out. `cdk synth` needs no credentials and calls no AWS service.

cdk synth                              all settings as in cdk.json
cdk deploy --all -c accept_eula=true   a setting changed for this deployment
"""

import os
import sys
from pathlib import Path

import aws_cdk as cdk

from stacks.application import add_stacks
from stacks.configuration.cdk_json import read_context
from stacks.configuration.settings import Settings, SettingsError

ROOT = Path(__file__).parent


def main() -> None:
    """Synthesizes into the CDK command line's output folder."""
    try:
        # cdk.json's context as the default, so that plain `python3 app.py` gives the templates that `cdk synth` gives.
        app = cdk.App(context=read_context(ROOT), analytics_reporting=False)
        settings = Settings.from_context(app.node.get_all_context())
        add_stacks(app, settings, root=ROOT, account=os.environ.get("CDK_DEFAULT_ACCOUNT"))
    except SettingsError as error:
        sys.exit(f"captune: {error}")
    app.synth()
    # After everything else, where it is seen. As a CDK annotation it would be a finding, and each of those is acknowledged.
    for warning in settings.warnings().values():
        print(f"captune: warning: {warning}", file=sys.stderr)


main()
