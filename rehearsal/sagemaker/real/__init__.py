"""Engines that do the work: the containers' commands run as processes of this machine."""
