"""What the manager says to a certificate authority, by the library `acme`: each call is one question, blocking, with a deadline.

Loaded only where ACME is used: the library and what it brings take some 10 MB. Invariant: every failure is a Refused, an
Unknown or an Away, in words for people; nothing of the library leaves this module.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar, cast

import requests
from acme import challenges, client, crypto_util, errors, messages
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from josepy.errors import Error as JoseError
from josepy.interfaces import JSONDeSerializable
from josepy.jwa import ES256
from josepy.jwk import JWKEC
from rookery import VERSION

from rookery_manager.acme.settings import AcmeSettings

CALL_S = 20  # of one HTTP request
MOST_NONCES = 5  # refusals of a nonce in a row; each comes with a new one
MOST_WHY = 400  # characters of what an authority says
LONGEST_WAIT_S = 7 * 86_400.0

T = TypeVar("T")


class Refused(Exception):
    """The authority said no. `wait_s` is how long it wants to be left alone; `over`: the order is of no use any more."""

    def __init__(self, why: str, *, wait_s: float = 0.0, over: bool = True) -> None:
        super().__init__(why)
        self.wait_s = wait_s
        self.over = over


class Unknown(Exception):
    """The authority does not know the account (any more), nor its orders."""


class Away(Exception):
    """The authority did not answer, or not as one does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenged:
    """The authority waits for the challenge to be answered, and to be told."""

    url: str
    token: str
    key_authorization: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Working:
    """The authority is at work; it wants to be asked again in so many seconds (0: it does not say)."""

    wait_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    chain: str
    issuer: str
    begins_at: float
    expires_at: float


News = Challenged | Working | Issued


def new_key() -> str:
    """A private key for an account or a certificate (P-256), in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()


class Authority:
    """One account at one authority. Not for several threads at a time."""

    def __init__(self, settings: AcmeSettings, account_key: str, account_url: str) -> None:
        key = serialization.load_pem_private_key(account_key.encode(), None)
        self._settings = settings
        self._key = JWKEC(key=key)
        self._account_url = account_url
        self._wait_s = 0.0  # as the last answer has it
        account = messages.RegistrationResource(uri=account_url, body=messages.Registration()) if account_url else None
        self._net = client.ClientNetwork(self._key, account, ES256, user_agent=f"rookery/{VERSION}", timeout=CALL_S)
        if settings.ca_file is not None:
            self._net.verify_ssl = cast(Any, str(settings.ca_file))  # requests takes a file of roots there too
        self._net.session.hooks["response"].append(self._note)
        self._client: client.ClientV2 | None = None

    def register(self) -> str:
        """The account's URL: of a new one, or of the one that has this key."""
        return self._ask(self._register)

    def contact(self, email: str) -> None:
        """Says where the account's holder can be reached from now on."""
        contact = (f"mailto:{email}",) if email else ()
        self._ask(lambda: self._post(self._account_url, messages.UpdateRegistration(contact=contact)))

    def order(self, host: str) -> str:
        """The URL of a new order."""
        wanted = messages.NewOrder(identifiers=[messages.Identifier(typ=messages.IDENTIFIER_FQDN, value=host)])
        return self._ask(lambda: str(self._post(self._directory()["newOrder"], wanted).headers["Location"]))

    def look(self, url: str, host: str, key: str) -> News:
        """How an order is. One whose host is proven is asked to be issued, for that key (PEM)."""
        return self._ask(lambda: self._look(url, host, key))

    def answer(self, challenge_url: str) -> None:
        """Tells the authority that the challenge is served."""
        self._ask(lambda: self._post(challenge_url, challenges.HTTP01Response(key_authorization="")))

    def renewal(self, chain: str) -> tuple[float | None, float]:
        """When the certificate should be renewed (None: the authority does not say), and when to ask again."""

        def ask() -> tuple[float | None, float]:
            at, again = self._connected().renewal_time(chain.encode())
            return at.timestamp() if at is not None else None, again.timestamp()

        return self._ask(ask)

    def close(self) -> None:
        """Ends its connections."""
        self._net.session.close()

    # ---- below

    def _register(self) -> str:
        contact = (f"mailto:{self._settings.email}",) if self._settings.email else ()
        wanted = messages.NewRegistration(contact=contact, terms_of_service_agreed=True)
        self._net.account = None
        # The answer for a key that is known (a manager ended before it could note the URL) has its account's URL too.
        url = str(self._post(self._directory()["newAccount"], wanted).headers["Location"])
        self._net.account = messages.RegistrationResource(uri=url, body=messages.Registration())
        self._account_url = url
        return url

    def _look(self, url: str, host: str, key: str) -> News:
        response = self._post(url, None)
        order = messages.Order.from_json(response.json())
        match order.status:
            case messages.STATUS_PENDING:
                return self._proof(str(order.authorizations[0]))
            case messages.STATUS_READY:
                request = messages.CertificateRequest(csr=x509.load_pem_x509_csr(crypto_util.make_csr(key.encode(), [host])))
                self._post(str(order.finalize), request)
                return Working(wait_s=self._wait_s)
            case messages.STATUS_VALID:
                return _issued(self._post(str(order.certificate), None).text)
            case messages.STATUS_INVALID:
                self._proof(str(order.authorizations[0]))
                raise Refused(f"the order was refused: {_words(order.error)}")
        return Working(wait_s=self._wait_s)

    def _proof(self, url: str) -> News:
        """What the authority wants to see of the host. Raises Refused where it was not content."""
        proof = messages.Authorization.from_json(self._post(url, None).json())
        found = next((c for c in proof.challenges if isinstance(c.chall, challenges.HTTP01)), None)
        if found is not None and found.error is not None:
            raise Refused(f"the host was not proven: {_words(found.error)}")
        if proof.status == messages.STATUS_PENDING:
            if found is None:
                raise Refused("the authority does not offer HTTP-01, by which alone hosts are proven here")
            if found.status == messages.STATUS_PENDING:
                return Challenged(
                    url=str(found.uri),
                    token=found.chall.encode("token"),
                    key_authorization=found.chall.key_authorization(self._key),
                )
        elif proof.status != messages.STATUS_VALID:
            raise Refused(f"the host was not proven: the authorization is {proof.status.name}")
        return Working(wait_s=self._wait_s)

    def _post(self, url: str, body: JSONDeSerializable | None) -> requests.Response:
        nonce_url = self._directory()["newNonce"]
        for attempt in range(MOST_NONCES):
            try:
                return self._net.post(url, cast(Any, body), new_nonce_url=nonce_url)
            except messages.Error as error:
                if error.code != "badNonce" or attempt == MOST_NONCES - 1:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _directory(self) -> messages.Directory:
        return self._connected().directory

    def _connected(self) -> client.ClientV2:
        if self._client is None:
            found = messages.Directory.from_json(self._net.get(self._settings.directory).json())
            self._client = client.ClientV2(found, self._net)
        return self._client

    def _note(self, response: requests.Response, *_: Any, **__: Any) -> None:
        """Notes how long the authority wants to be left alone: the library does not say it with its errors."""
        self._wait_s = 0.0
        if "Retry-After" in response.headers:
            at = client.ClientV2.retry_after(response, 0)
            self._wait_s = min(max(0.0, (at - datetime.now()).total_seconds()), LONGEST_WAIT_S)

    def _ask(self, question: Callable[[], T]) -> T:
        """Raises Refused, Unknown or Away."""
        self._wait_s = 0.0
        try:
            return question()
        except messages.Error as error:
            code = error.code or ""
            if code == "accountDoesNotExist":
                raise Unknown("the authority does not know this manager's account any more") from None
            for_now = code in ("rateLimited", "badNonce", "serverInternal", "orderNotReady")
            raise Refused(f"the authority refused it: {_words(error)}", wait_s=self._wait_s, over=not for_now) from None
        except (requests.RequestException, OSError) as error:
            self._client = None
            raise Away(f"{self._settings.directory} can't be reached: {_away(error)}") from None
        except (errors.Error, JoseError, ValueError, KeyError, IndexError, TypeError) as error:
            self._client = None
            raise Away(
                f"{self._settings.directory} does not answer as an ACME directory does: {_short(_unexpected(error))}"
            ) from None


def _issued(chain: str) -> Issued:
    leaf = x509.load_pem_x509_certificates(chain.encode())[0]
    by = leaf.issuer.get_attributes_for_oid(NameOID.ORGANIZATION_NAME) or leaf.issuer.get_attributes_for_oid(NameOID.COMMON_NAME)
    return Issued(
        chain=chain,
        issuer=str(by[0].value) if by else "unknown",
        begins_at=leaf.not_valid_before_utc.timestamp(),
        expires_at=leaf.not_valid_after_utc.timestamp(),
    )


def _words(error: messages.Error | None) -> str:
    if error is None:
        return "it does not say why"
    code = error.code or str(error.typ or "").rpartition(":")[2]
    return _short(f"{error.detail or error.description or 'it does not say why'} ({code})")


def _away(error: Exception) -> str:
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not trusted; name its root with --acme-ca"
    if isinstance(error, requests.exceptions.Timeout):
        return f"it does not answer within {CALL_S} s"
    if isinstance(error, requests.exceptions.ConnectionError):
        return "no connection"
    return _short(str(error))


def _unexpected(error: Exception) -> str:
    response = error.args[0] if error.args else None
    if isinstance(response, requests.Response):
        return f"status {response.status_code}"
    return str(error) or type(error).__name__


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MOST_WHY else f"{line[:MOST_WHY]}..."
