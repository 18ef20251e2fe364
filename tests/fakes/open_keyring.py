"""A keyring that is open, with a key of its own."""

from pathlib import Path

from rookery.model import Seal
from rookery_manager.sealing.cipher import new_data_key, new_file_key, wrap
from rookery_manager.sealing.keyring import Keyring


def open_keyring(key_file: Path = Path("/nowhere/secrets.key")) -> Keyring:
    data_key = new_data_key()
    seal: Seal = wrap(data_key, new_file_key())
    return Keyring(seal, key_file, data_key)
