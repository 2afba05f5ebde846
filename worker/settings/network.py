"""The environment's proxies and certificate authorities. No message shows a value: it may hold a password."""

import os
import ssl
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

from worker.errors import ConfigError
from worker.settings.fields import is_loopback


def problems() -> list[str]:
    """What no request could be sent with: a sentence each."""
    sentences: list[str] = []
    for check in (proxies, trusted_authorities):
        try:
            check()
        except ConfigError as error:
            sentences += error.problems
    return sentences


def proxies() -> Mapping[str, str]:
    """URLs of the proxies by scheme: `http`, `https`, `all`. Raises `ConfigError` for one that is none."""
    configured = getproxies()
    urls = {scheme: configured[scheme] for scheme in ("http", "https", "all") if configured.get(scheme)}
    urls = {scheme: url if "://" in url else f"http://{url}" for scheme, url in urls.items()}
    unusable = [problem for scheme, url in urls.items() if (problem := _problem(scheme, url))]
    if unusable:
        raise ConfigError(*unusable)
    return urls


def proxy_for(url: str) -> str | None:
    """The proxy for requests to `url`; None for this machine and what `NO_PROXY` names.

    Raises `ConfigError` as `proxies` does.
    """
    urls = proxies()
    try:
        target = urlsplit(url)
    except ValueError:  # no request can be sent to it
        return None
    if is_local(target.hostname or "") or proxy_bypass(target.netloc.rpartition("@")[2]):
        return None
    return urls.get(target.scheme) or urls.get("all")


def is_local(host: str) -> bool:
    """Whether a host name or address is this machine."""
    name = host.lower().rstrip(".")
    return is_loopback(name) or name.endswith(".localhost")


def trusted_authorities() -> ssl.SSLContext | None:
    """The authorities of `SSL_CERT_FILE` or `SSL_CERT_DIR`; None when neither is set.

    Raises `ConfigError` when they cannot be read.
    """
    if path := os.environ.get("SSL_CERT_FILE"):
        try:
            return ssl.create_default_context(cafile=path)
        except (OSError, ValueError):  # ssl.SSLError is an OSError
            raise ConfigError(
                "SSL_CERT_FILE não aponta para um arquivo de certificados (PEM) legível"
            ) from None
    if path := os.environ.get("SSL_CERT_DIR"):
        if not any(map(os.path.isdir, path.split(os.pathsep))):
            raise ConfigError("SSL_CERT_DIR não aponta para um diretório")
        return ssl.create_default_context(capath=path)
    return None


def _problem(scheme: str, url: str) -> str | None:
    name = _name(scheme)
    proxy = _split(url)
    if proxy is None:
        return f"{name} não é um endereço válido: use http://servidor:porta"
    if proxy.scheme.lower() not in {"http", "https"}:
        return f"{name}: o proxy precisa ser http:// ou https://"
    return None


def _split(url: str) -> SplitResult | None:
    """The parts of a proxy's URL; None when it names no host, or its port is no port."""
    try:
        proxy = urlsplit(url)
        return proxy if proxy.hostname and proxy.port != 0 and url.isprintable() and " " not in url else None
    except ValueError:
        return None


def _name(scheme: str) -> str:
    """The variable as the operator wrote it."""
    name = f"{scheme}_proxy"
    return next((each for each in sorted(os.environ, reverse=True) if each.lower() == name), name.upper())
