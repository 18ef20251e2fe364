"""The certificate of a caller that has none yet. Its key is no secret: it is the same for everybody, and proves nothing.

gRPC for Python can ask callers for a certificate or not ask at all, but not leave it to them. A joiner shows this one; the
manager takes it for what it is, and lets its holder do nothing but join. It may sign nothing: its key usage says so.
"""

KEY = b"""\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgPnk7eF52jaEYdHVZ
+m6PoTQV3nWPV+P6jbeHQrYLUk+hRANCAATxtqR7d+rkBCOUG+BkExk2DOs2ql9J
36wJdPbuh6fNk/Vz7in3r0sV4AtIPPjtb/PsgsX1CRAFkWpYqm8LWpCf
-----END PRIVATE KEY-----
"""

CERTIFICATE = b"""\
-----BEGIN CERTIFICATE-----
MIIBWTCCAQCgAwIBAgIBATAKBggqhkjOPQQDAjAaMRgwFgYDVQQDDA9yb29rZXJ5
IHZpc2l0b3IwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBoxGDAW
BgNVBAMMD3Jvb2tlcnkgdmlzaXRvcjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IA
BPG2pHt36uQEI5Qb4GQTGTYM6zaqX0nfrAl09u6Hp82T9XPuKfevSxXgC0g8+O1v
8+yCxfUJEAWRaliqbwtakJ+jNTAzMAwGA1UdEwEB/wQCMAAwDgYDVR0PAQH/BAQD
AgeAMBMGA1UdJQQMMAoGCCsGAQUFBwMCMAoGCCqGSM49BAMCA0cAMEQCIDvGfWfX
r0FWHnDIISeNjMJA+cDy70x1mKXlODncMCRmAiBDjFU0whn98QQepTe2zi5XYZNg
u6vgyqmjYNHqOKSsag==
-----END CERTIFICATE-----
"""
