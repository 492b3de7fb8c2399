"""hardmail: messages on which mail readers stumble, written for the comparison with plain Dovecot.

    for name, message in hardmail.ALL.items(): ...

Each is what a careless, broken or hostile sender might send. None is empty: IMAP refuses to append nothing.
"""
import random

HEAD = (b"From: Sender Person <sender@out.example>\r\nTo: Reader <reader@example.org>\r\nSubject: %s\r\n"
        b"Date: Tue, 03 Mar 2026 10:%02d:00 +0100\r\nMessage-ID: <hard-%d@out.example>\r\n")


def head(subject, n, *more):
    return HEAD % (subject, n % 60, n) + b"".join(line + b"\r\n" for line in more)


def multipart(boundary, *parts, kind=b"mixed", end=True, preamble=b"", epilogue=b""):
    """Content-Type line, blank line, body."""
    text = b'MIME-Version: 1.0\r\nContent-Type: multipart/%s; boundary="%s"\r\n\r\n%s' % (kind, boundary, preamble)
    for part in parts:
        text += b"--%s\r\n%s\r\n" % (boundary, part)
    return text + (b"--%s--\r\n%s" % (boundary, epilogue) if end else b"")


def leaf(text, kind=b"text/plain; charset=us-ascii", *more):
    return b"Content-Type: %s\r\n%s\r\n%s" % (kind, b"".join(line + b"\r\n" for line in more), text)


def nested(depth):
    """multipart in multipart, depth levels down."""
    inner = leaf(b"the innermost text\r\n")
    for level in range(depth):
        inner = multipart(b"level-%d" % level, inner, leaf(b"beside level %d\r\n" % level))
    return inner


def forwarded(depth):
    """message/rfc822 in message/rfc822."""
    message = head(b"the first of all", 40) + b"\r\nThe text that was forwarded so often.\r\n"
    for level in range(depth):
        message = head(b"Fwd: %d" % level, 41 + level, b"References: <hard-%d@out.example>" % (40 + level)) + multipart(
            b"fwd%d" % level, leaf(b"see below, %d\r\n" % level),
            b"Content-Type: message/rfc822\r\nContent-Disposition: attachment; filename=fwd%d.eml\r\n\r\n%s" % (level, message))
    return message


def base64_lines(length):
    rng = random.Random(length)
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    text = bytes(rng.choice(alphabet) for _ in range(length // 4 * 4))
    return b"".join(text[i:i + 76] + b"\r\n" for i in range(0, len(text), 76))


def boundaries():
    """What is wrong with boundaries in the wild."""
    one, two = leaf(b"part one\r\n"), leaf(b"<p>part two</p>\r\n", b"text/html")
    return {
        "boundary-never-ends": head(b"no end", 1) + multipart(b"b", one, two, end=False),
        "boundary-not-there": head(b"no parts", 2) + multipart(b"b", end=False) + b"only text, no part at all\r\n",
        "boundary-empty": head(b"empty name", 3) + multipart(b"", one, two),
        "boundary-not-named": head(b"not named", 4, b"Content-Type: multipart/mixed") + b"\r\n--b\r\n" + one + b"--b--\r\n",
        "boundary-with-spaces": head(b"spaces", 5) + multipart(b"a b c ", one, two),
        "boundary-is-a-prefix": head(b"prefix", 6) + multipart(b"edge", multipart(b"edge-inner", one, two), two),
        "boundary-twice-the-same": head(b"same twice", 7) + multipart(b"b", multipart(b"b", one, two), two),
        "boundary-ends-early": head(b"early", 8) + multipart(b"b", one, epilogue=b"--b\r\n" + two + b"\r\n--b--\r\n"),
        "boundary-inner-never-ends": head(b"inner", 9) + multipart(b"out", multipart(b"in", one, two, end=False), two),
        "boundary-of-200": head(b"long name", 10) + multipart(b"x" * 200, one, two),
        "boundary-trailing-space": head(b"trailing", 11) + multipart(b"b", one, two).replace(b"--b\r\n", b"--b \t\r\n"),
        "boundary-lf-only": (head(b"lf", 12) + multipart(b"b", one, two)).replace(b"\r\n", b"\n"),
        "boundary-in-the-header": head(b"header", 13) + multipart(b"b", b"X-Part: --b\r\n--b\r\nno blank line\r\n", one),
        "boundary-dashes": head(b"dashes", 14) + multipart(b"--", one, two),
        "preamble-and-epilogue": head(b"around", 15) + multipart(
            b"b", one, two, preamble=b"This is a multi-part message in MIME format.\r\n", epilogue=b"after the end\r\n" * 5),
        "empty-parts": head(b"empty parts", 16) + multipart(b"b", b"", b"\r\n", b"Content-Type: text/html\r\n", b"\r\n\r\n"),
    }


def headers():
    """Headers that are missing, endless, folded oddly, or no headers."""
    return {
        "no-header": b"\r\nno header at all, only this\r\n",
        "no-body": head(b"no body", 20) + b"\r\n",
        "no-blank-line": head(b"no blank line", 21),
        "no-line-end": b"Subject: this line does not end",
        "no-colon": b"this is no header line\r\nneither is this\r\n" + head(b"after junk", 22) + b"\r\nbody\r\n",
        "mbox-from-line": b"From sender@out.example Tue Mar  3 10:00:00 2026\r\n" + head(b"mbox", 23) + b"\r\nbody\r\n",
        "one-byte": b"x",
        "one-line-end": b"\r\n",
        "one-lf": b"\n",
        "spaces-only": b"   \r\n\t\r\n \r\n",
        "starts-folded": b" folded before anything\r\n" + head(b"fold first", 24) + b"\r\nbody\r\n",
        "folded-a-lot": head(b"folded", 25, b"To: " + b",\r\n ".join(b"P%d <p%d@out.example>" % (i, i) for i in range(300)))
        + b"\r\nbody\r\n",
        "folded-with-blanks": head(b"folds\r\n \r\n\t\r\n of blanks", 26) + b"\r\nbody\r\n",
        "name-with-space": head(b"space", 27, b"X-Spaced : yes", b"Subject : another one") + b"\r\nbody\r\n",
        "empty-fields": b"From:\r\nTo: \r\nSubject:\r\nDate:\r\nMessage-ID:\r\nCc:\r\n\r\nall are empty\r\n",
        "twice-the-same": head(b"first", 28, b"Subject: second", b"From: other@out.example", b"To: more@out.example",
                               b"Date: Wed, 04 Mar 2026 00:00:00 +0000", b"Message-ID: <second@out.example>") + b"\r\nx\r\n",
        "line-of-a-megabyte": head(b"long line", 29, b"X-Long: " + b"v" * (1 << 20)) + b"\r\nbody\r\n",
        "subject-of-100k": head(b"s" * 100_000, 30) + b"\r\nbody\r\n",
        "header-of-200k": head(b"long", 31, *(b"X-Line-%d: %s" % (i, b"h" * 900) for i in range(220))) + b"\r\nbody\r\n",
        "ten-thousand-fields": head(b"many", 32, *(b"X-N: %d" % i for i in range(10_000))) + b"\r\nbody\r\n",
        "header-fills-a-chunk": header_of(65536),
        "header-one-past-a-chunk": header_of(65537),
        "header-8-bit": head(b"Gr\xfc\xdfe aus K\xf6ln", 33, b"Cc: J\xfcrgen <j@out.example>") + b"\r\nbody \xfc\r\n",
        "header-utf8": head("Grüße 日本語 ".encode(), 34, "Cc: Жук <z@out.example>".encode()) + "\r\nтекст\r\n".encode(),
        "header-nul": head(b"nul \0 in it", 35, b"X-Nul\0Name: \0") + b"\r\nbody\r\n",
        "header-bare-cr": head(b"bare\rcr", 36, b"X-Cr: a\rb\r\rc") + b"\r\nbody\r\n",
        "header-lf-body-crlf": head(b"mixed", 37).replace(b"\r\n", b"\n") + b"\nbody\r\nwith crlf\r\n",
        "addresses-odd": head(b"addresses", 38, b'Cc: "unclosed <a@b', b"Bcc: group: a@b.c, d@e.f;, undisclosed-recipients:;",
                              b"Reply-To: <>", b"Sender: a@b@c, (comment (nested)) x@y (more", b'Resent-To: "\\"q\\"" <q@q>')
        + b"\r\nbody\r\n",
        "encoded-words": head(b"=?utf-8?Q?Gr=C3=BC=C3=9Fe?= =?iso-8859-1?B?S/ZsbiA=?= =?utf-8?X?bad?= =?utf-8?Q?unfinished",
                              39, b"From: =?koi8-r?B?88XSx8XK?= <k@out.example>") + b"\r\nbody\r\n",
        "dates-odd": b"Date: yesterday\r\nSubject: date\r\nFrom: a@b\r\n\r\nx\r\n",
        "date-with-comment": b"Date: 1 Jan 70 00:00 EST (long (ago))\r\nSubject: date 2\r\nFrom: a@b\r\n\r\nx\r\n",
        "ids-odd": b"Message-ID: <a b@c>\r\nReferences: <x@y><z@w> junk <\r\nIn-Reply-To: your mail of \"today\" <q@r>\r\n"
                   b"Subject: Re: Re[2]: Fwd: ids\r\nFrom: a@b\r\n\r\nx\r\n",
    }


def header_of(length):
    """A header that with its blank line is length bytes long as it is stored (LF)."""
    start = head(b"to measure", 50)
    room = length - len(start.replace(b"\r\n", b"\n")) - len("X-Fill: \n\n")
    return start + b"X-Fill: " + b"f" * room + b"\r\n\r\nthe body begins here\r\n"


def bodies():
    latin = bytes(range(32, 127)) + bytes(range(160, 256))
    return {
        "bare-lf": (head(b"bare lf", 51) + b"\r\none\r\ntwo\r\n\r\nthree").replace(b"\r\n", b"\n"),
        "bare-cr": head(b"bare cr", 52) + b"\r\none\rtwo\r\r\nthree\r\n\r\r\r",
        "ends-in-cr": head(b"cr at the end", 53) + b"\r\nthe end\r",
        "mixed-line-ends": head(b"mixed", 54) + b"\r\na\nb\r\nc\rd\n\re\r\r\n\n\n\r\n",
        "nul-body": head(b"nul", 55) + b"\r\nbefore\0after\r\n" + b"\0" * 3000 + b"\r\nend\r\n",
        "nul-base64": head(b"nul 64", 56, b"Content-Transfer-Encoding: base64") + b"\r\nAAAA\0AAAA\r\n\0\0\r\nQUJD\r\n",
        "every-byte": head(b"bytes", 57) + b"\r\n" + bytes(range(1, 256)) * 20 + b"\r\n",
        "one-line-of-200k": head(b"line", 58) + b"\r\n" + b"w" * 200_000 + b"\r\n",
        "no-final-line-end": head(b"cut", 59) + b"\r\nthe last line is cut off he",
        "only-blank-lines": head(b"blank", 60) + b"\r\n" * 400,
        "dots": head(b"dots", 61) + b"\r\n.\r\n..\r\n.a\r\nFrom here\r\n.\r\n",
        "looks-sealed": b"\x89BSL\r\n\x1a\n\x01\x01\x00\x00 as a sealed file\r\n\r\nbody\r\n",
        "base64-broken": head(b"64", 62, b"Content-Transfer-Encoding: base64") + b"\r\nVGhpcw==IGlz\r\n!!!!\r\n===\r\nYQ\r\n",
        "qp-broken": head(b"qp", 63, b"Content-Transfer-Encoding: quoted-printable") + b"\r\nso =\r\nft =3D =ZZ =3\r\n=\r\ntail=",
        "encoding-unknown": head(b"x-uue", 64, b"Content-Transfer-Encoding: x-uuencode") + b"\r\nbegin 644 a\r\n#86)C\r\nend\r\n",
        "charset-unknown": head(b"cs", 65, b"Content-Type: text/plain; charset=x-nobody-knows") + b"\r\nGr\xfc\xdfe\r\n",
        "latin-1": head(b"l1", 66, b"Content-Type: text/plain; charset=iso-8859-1") + b"\r\nGr\xfc\xdfe aus K\xf6ln\r\n" + latin + b"\r\n",
        "iso-2022-jp": head(b"=?ISO-2022-JP?B?GyRCRnxLXDhsGyhC?=", 67, b"Content-Type: text/plain; charset=ISO-2022-JP")
        + b"\r\n\x1b$BF|K\\8l\x1b(B\r\n",
        "utf-7": head(b"u7", 68, b"Content-Type: text/plain; charset=utf-7") + b"\r\nGr+APwA3w-e\r\n",
        "html": head(b"html", 69, b"Content-Type: text/html; charset=utf-8") +
        "\r\n<html><head><style>p {}</style></head><body><!-- no --><p>Grüße&nbsp;&amp; <b>bold</b></p></body></html>\r\n".encode(),
        "html-with-quotes": head(b"quote", 70, b"Content-Type: text/html") +
        b"\r\n<blockquote>old</blockquote><p>new text <blockquote>more old</p>\r\n<script>x < y</script unclosed\r\n",
        "quoted-reply": head(b"Re: quote", 71, b"In-Reply-To: <hard-70@out.example>") + b"\r\n> old\r\n> older\r\n\r\nnew words\r\n",
        "megabyte-and-more": head(b"large", 72) + multipart(
            b"big", leaf(b"see the attachment\r\n"),
            leaf(base64_lines(1_200_000), b"application/octet-stream; name=large.bin", b"Content-Transfer-Encoding: base64")),
    }


def structures():
    one, two = leaf(b"part one\r\n"), leaf(b"<p>part two</p>\r\n", b"text/html")
    rfc2231 = (b"Content-Type: application/x-stuff; title*0*=us-ascii'en'This%20is%20even%20more%20; "
               b"title*1*=%2A%2A%2Afun%2A%2A%2A%20; title*2=\"isn't it!\"\r\n"
               b"Content-Disposition: attachment; filename*=UTF-8''Gr%C3%BC%C3%9Fe%20%e2%82%ac.pdf; filename=\"plain.pdf\"; "
               b"size=12; creation-date=\"Tue, 03 Mar 2026 10:00:00 +0100\"\r\n\r\nstuff\r\n")
    return {
        "nested-30": head(b"thirty levels", 80) + nested(30),
        "nested-150": head(b"more levels than allowed", 81) + nested(150),
        "forwarded-6": forwarded(6),
        "forwarded-40": forwarded(40),
        "rfc822-bare": head(b"fwd", 82, b"MIME-Version: 1.0", b"Content-Type: message/rfc822") + b"\r\n" + forwarded(1),
        "rfc822-empty": head(b"fwd", 83) + multipart(b"b", b"Content-Type: message/rfc822\r\n\r\n", one),
        "rfc822-base64": head(b"fwd", 84) + multipart(
            b"b", leaf(b"U3ViamVjdDogeAoKeAo=\r\n", b"message/rfc822", b"Content-Transfer-Encoding: base64"), one),
        "rfc822-no-body": head(b"fwd", 85) + multipart(b"b", leaf(head(b"inner", 86), b"message/rfc822"), one),
        "digest": head(b"digest", 87) + multipart(b"b", b"\r\n" + head(b"d1", 88) + b"\r\none\r\n", b"\r\n" + head(b"d2", 89),
                                                   kind=b"digest"),
        "digest-with-types": head(b"digest", 90) + multipart(b"b", one, two, kind=b"digest"),
        "alternative": head(b"alt", 91) + multipart(b"b", one, two, kind=b"alternative"),
        "related": head(b"rel", 92) + multipart(
            b"b", two, leaf(base64_lines(400), b"image/png", b"Content-ID: <i@x>", b"Content-Location: http://x/\"i\"",
                            b"Content-Transfer-Encoding: base64", b"Content-MD5: Q2hlY2s=", b"Content-Language: en, de",
                            b"Content-Description: =?utf-8?Q?B=C3=BCld?="), kind=b"related; type=\"text/html\"; start=\"<h@x>\""),
        "rfc2231": head(b"2231", 93) + multipart(b"b", rfc2231, one),
        "types-odd": head(b"types", 94) + multipart(
            b"b", leaf(b"a", b"text"), leaf(b"b", b"/"), leaf(b"c", b"text/plain; charset"), leaf(b"d", b"TEXT/HTML; a=b; a=c;;"),
            leaf(b"e", b'"text/plain"'), leaf(b"f", b'text/x; name="unclosed'), leaf(b"g", b"text/x (comment); n=(c)v"),
            b"Content-Disposition: inline; filename=\r\nContent-Type:\r\n\r\nh\r\n", b"Content-Type: multipart/\r\n\r\ni\r\n"),
        "signed": head(b"signed", 95) + multipart(
            b"b", one, leaf(b"MIIB\r\n", b"application/pkcs7-signature; name=smime.p7s", b"Content-Transfer-Encoding: base64"),
            kind=b'signed; protocol="application/pkcs7-signature"; micalg=sha-256'),
        "report": head(b"DSN", 96) + multipart(
            b"b", leaf(b"It did not work.\r\n"), leaf(b"Reporting-MTA: dns; x\r\n\r\nFinal-Recipient: rfc822; a@b\r\n", b"message/delivery-status"),
            leaf(head(b"what was sent", 97), b"text/rfc822-headers"), kind=b"report; report-type=delivery-status"),
        "partial": head(b"part", 98, b"MIME-Version: 1.0", b'Content-Type: message/partial; id="a@b"; number=2; total=3')
        + b"\r\nthe middle of something\r\n",
        "external": head(b"ext", 99) + multipart(
            b"b", b"Content-Type: message/external-body; access-type=ANON-FTP; site=x; name=y\r\n\r\n"
            b"Content-Type: image/gif\r\nContent-ID: <z@z>\r\n\r\n", one),
        "multipart-says-base64": head(b"lie", 100, b"Content-Transfer-Encoding: base64") + multipart(b"b", one, two),
        "parts-200": head(b"two hundred", 101) + multipart(b"b", *(leaf(b"leaf %d\r\n" % i) for i in range(200))),
        "parts-2000-empty": head(b"two thousand", 102) + multipart(b"b", *(b"\r\n" for _ in range(2000))),
        "no-mime-version": head(b"no version", 103) + multipart(b"b", one, two).replace(b"MIME-Version: 1.0\r\n", b""),
        "mime-lines-folded": head(b"folded", 104) + multipart(b"b", one, two).replace(b"; boundary", b";\r\n\t (c)\r\n boundary"),
    }


ALL = {**boundaries(), **headers(), **bodies(), **structures()}


def mutants(count, seed):
    """Messages cut from pieces of those above: lines left out, doubled, mixed with another's, bytes changed."""
    rng = random.Random(seed)
    parts = [m.splitlines(True)[:400] for m in ALL.values() if len(m) < 30_000]
    found = []
    for _ in range(count):
        lines, other = list(rng.choice(parts)), rng.choice(parts)
        for _ in range(rng.randrange(1, 6)):
            at, end = sorted(rng.randrange(len(lines) + 1) for _ in range(2))
            change = rng.randrange(4)
            if change == 0:
                del lines[at:min(end, at + 3)]
            elif change == 1:
                lines[at:at] = lines[at:end]
            elif change == 2:
                lines[at:end] = other[:rng.randrange(len(other) + 1)]
            elif lines:
                at = min(at, len(lines) - 1)
                spot = rng.randrange(len(lines[at]))
                lines[at] = lines[at][:spot] + bytes([rng.randrange(1, 256)]) + lines[at][spot + 1:]
        found.append(b"".join(lines)[:200_000] or b"x")
    return found
