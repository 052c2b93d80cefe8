"""The rehearsed account: moto behind a recorder, the clients that find it, and what is deployed into it."""
