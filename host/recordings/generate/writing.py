"""What every part of the recording needs: who and where, ids, times, and the entries themselves."""

import json
import random
from datetime import datetime, timedelta, timezone

START = datetime(2026, 3, 2, 9, 14, 5, 118_000, tzinfo=timezone.utc)
NAMESPACE = "jx"
OWNER, REPOSITORY, NUMBER = "acme", "shop", 128
BRANCH = f"PR-{NUMBER}"
LINK = f"https://github.com/{OWNER}/{REPOSITORY}"
HEAD, BASE = "9f6c1e0b7a4d52c83be1d7f0465a2c98e3b0d714", "41d8ab6f02c7e95513aa8c6e7d40b9f2c15e8a37"
GUID = "7c1d4f90-1618-11f1-8a3e-4b2d6e9a0c55"
NODES = ["pool-a-5d8c", "pool-a-k2vx", "pool-b-9qhm"]

draw = random.Random(128)
entries = []


def uid():
    """A version 4 UUID."""
    digits = f"{draw.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{'89ab'[draw.randrange(4)]}{digits[17:20]}-{digits[20:]}"


def uuid_1():
    """A name of a LighthouseJob: a version 1 UUID."""
    return f"{draw.getrandbits(32):08x}-1618-11f1-{draw.getrandbits(16):04x}-0a58a9feac02"


def suffix(length=5):
    """A generated name's end, from the letters that Kubernetes uses."""
    return "".join(draw.choice("bcdfghjklmnpqrstvwxz2456789") for _ in range(length))


def hexadecimal(length):
    return "".join(draw.choice("0123456789abcdef") for _ in range(length))


def at(seconds):
    return START + timedelta(seconds=seconds)


def second(seconds):
    """As metav1.Time writes it."""
    return at(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro(seconds):
    """As metav1.MicroTime writes it."""
    return at(seconds).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def milli(seconds):
    return at(seconds).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at(seconds).microsecond // 1000:03d}Z"


def nanoseconds(seconds):
    whole = int(START.timestamp()) * 1_000_000_000 + START.microsecond * 1000
    return whole + int(round(seconds * 1e6)) * 1000 + draw.randrange(1000)


def webhook(seconds, kind, body):
    entries.append((seconds, "webhook", {"kind": kind, "body": body}))


def apply(seconds, thing):
    entries.append((seconds, "apply", json.loads(json.dumps(thing))))


def merge(seconds, thing, **parts):
    """Writes parts of an object; `thing` itself is what names it."""
    named = {
        "apiVersion": thing["apiVersion"],
        "kind": thing["kind"],
        "metadata": {"name": thing["metadata"]["name"], "namespace": NAMESPACE, **parts.pop("metadata", {})},
    }
    entries.append((seconds, "merge", json.loads(json.dumps({**named, **parts}))))


def new(seconds, api_version, kind, name, owner=None, **metadata):
    thing = {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": uid(),
            "creationTimestamp": second(seconds),
            "generation": 1,
            **metadata,
        },
    }
    if owner:
        thing["metadata"]["ownerReferences"] = [
            {
                "apiVersion": owner["apiVersion"],
                "kind": owner["kind"],
                "name": owner["metadata"]["name"],
                "uid": owner["metadata"]["uid"],
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ]
    return thing


def condition(seconds, status, reason, message):
    return [
        {
            "type": "Succeeded",
            "status": status,
            "reason": reason,
            "message": message,
            "lastTransitionTime": second(seconds),
        }
    ]


def write():
    """Prints the entries in order of time."""
    for seconds, kind, value in sorted(entries, key=lambda entry: entry[0]):
        print(json.dumps({"at": micro(seconds), kind: value}, separators=(",", ":"), ensure_ascii=False))
