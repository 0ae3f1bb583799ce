"""authority.py FOLDER: an authority of certificates, and one that it has issued for this machine."""

import pathlib
import sys

import trustme

folder = pathlib.Path(sys.argv[1])
authority = trustme.CA()
authority.cert_pem.write_to_path(folder / "authority.pem")
authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
