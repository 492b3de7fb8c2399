/* Made by tests/vectors/make_verdict.py from docs/FORMAT.verdict.md: do not edit. */
#define VV_NOW 1800000000
static const char vv_keyfile[] =
	"# made for tests\n9857a37eea471bd9 6dd02bf08025f0ec9bed024173334c1bbc5c65116efbe0521063dd87671e280a 1"
	"799999000\n";
static const char vv_id[] =
	"e8749e2db7b6543badeff6bfb74154f8";
static const char vv_good[] =
	" AZhXo37qRxvZVQm2+2MIsKs8+uKPpi0Zf3nuWmRMI+mnAgavH5/2+pzFgWJx5f7hzFsBqrGwCanr\r\n\toWFrN9zaiHT45QnoQ36q"
	"bCkiK5xSBr9SWF4EY53yNuCJbVk95uXqkhpXowprqK3ylE2wyAwUwTh+\r\n\t2rilfNW1eO/uol5L7sDSoMYEXWGMB+KwRopUZkao/"
	"j33oivzGb/9SgsaDxbf9e6ZEsqlhGsvmoWn\r\n\tzoFUduQdrHgf/4+HIRFac0cznv/fi762JEz/+0ggMLd/t/CYf+JJ6+57jRff/y"
	"JL1xW+DuxSknhu\r\n\tnUIyPYYtxUKs9VMasdc6QM9YyM64HAkyDAKhINmoOMBcNSKDX+4CYWmhVsSaaF0Z0VYQ72d6sr4U\r\n\t17Js"
	"7L4CSPcUvCWMs22XiMCSTj/InWiI8HPJJyYDvvPW7RgyP/vprPo1U8HOCuGzuGPnLfgq9chu\r\n\tO1mTh2iYKUkOk2NPuj2akjCoO"
	"Oi0eYa3HSOXFcDGA3UbvGq2bhQl4oOaCbHcba6TA5n2RbLbfu7k\r\n\tzvevq8bGCA4K8/wLntjUSBVNV7xFHLjoKcgxzaNO+BkDmp"
	"NMafBQyiSGryuKVyVLZpdHGe/O5UxE\r\n\tLLziApL6r4cdrNjENilvebiB/RN7cW1jiJ9UEdRCqPpeTss3NILgGwmIw62HfAbemY3"
	"6p/KQgwXS\r\n\tdpfJVHS6gCFCiWG9jfqAgkmFmxuyP5ZVtRo3ACvz5fu/dM0Ij7zgQ0XDMMBLFVu5";
static const char vv_many[] =
	" AZhXo37qRxvZgUYVPicLoa05hTati4Bi4COzy9jev8tzuzK0gc70Q+fPHXxPK4Ty0RwEP4aYIRlk\r\n\tqnsHyesu8oCr3SUoma17"
	"cet/N8NKGJNlfoHSxak6vSAdajRam9OEyNJigIDxR4XHtbrn+Ajv389G\r\n\tgiaJCLOmb/3upFTF+6D7MEMNZG8pg2K3pM5x8pige"
	"Jq8sJvvB5oUyQCFA8T6yis+ynHZtG/pQgkv\r\n\tGwE+Ksf1bnLpnBLsf+TB2ZYt/mK1g0MSXy0FaDCWH2NFulcbQF387BMruscj4b"
	"TUjkXo5mUnc/ng\r\n\tx6NTGBqOT6hqO11q4I/WsM3iu8fNeI6FSCOMUPQd0vcnM9i4yYRMFm2VvsrCkzeTqOds72lxhJhf\r\n\t6VMH"
	"QzYz65XT1abHmlhwmdpfQ+hmf/DKfZ9ZOZUmuAIIPLkfXaTERE3WJ7L01XD1XmA0UqP+Lhi/\r\n\tOs6hAEGIz1jHOGdbYla3x+OtN"
	"3qzkHVXbSWJC476DUs7kChyUDj4rEr3SyZTiOHOwwFPdzr9Vefs\r\n\t+rOZSFkFM+5TwF+HI6V5tDcsJvK7r8mK8VbqyC7eLrwoCL"
	"oVLeE3/xKhBeLphd47qpBYFiie9Qja\r\n\tOHtFM4h4/FVBk3TIRO3C6U7jzbk1lY2M7aKSPkbtV6kysLj7M0S+ksc/YJU6fvt4/Xp"
	"PhmjBvvtP\r\n\tdR6o06c8wlIvwzm+EOslaQlNk4L7e2XPU6S/7UKP4WRLLNGGF4oPybr9k9s7O0lnKjwbSaZGdC2d\r\n\tgAOchQ808"
	"Xlp2bvFVK/H8JjRDno5LAo8O6J9c6oQybnJ7qqgUSQLPslOKsWfl/zKlVuZdY0+Ihtm\r\n\t7ZfC+fd684q7MbOPr6Tj/YG+wdEdsI"
	"NmIiDEuWCKuAxeFQ8n4ATiGmawVhV9tr8wqMOXFPVFLDKI\r\n\tGqUwCnpsXWn67ZZMcJyAUuZfPs4GIIEJ2+6o9NrddYrTSTgbi5L"
	"Rthk1/ywLl73/+bYqTzrYrU8L\r\n\tx8zIr6vROBdzVOFMH2syxrML4Ou9kRM206ZOlTkXIUf7zgQ35MSnBIXEuT8ufKQjNsKhmY80"
	"LJO7\r\n\tND0wV4e9yHQp0mKS61V+RkbXZFBFVW+fqBux3XxhdoAdg+o6NsFGTup0qQBJfbYeL1sA1GKwgk0E\r\n\tfpDLXm87kkC/Zo"
	"Am/loLpd79RLdl5YMmP7cQxVhGFVov/STIk3kOvp2xvqPdBunCRjR0ZWL4gFPA\r\n\tHesqzgdKIwLaCi93Fk9ZLfpijprU+30qUWq"
	"cvn0pY2aAzxlyc6cseYkE/cHvyE6JliS71B5/H4dm\r\n\tpZf4b7d46mWggaRt9ukZeqwbiTk35n9wO1FODl4Hry1lnQZhUwWOXptc"
	"yFxtXdvUaIjw5VVj+HP4\r\n\tN/4JO4mXcRYMkJIppv+7uKR2tUNez33COswteIn6hP5lonZ+Ve+U1wiQM8lOG1I=";
static const char vv_bad_outcome[] =
	" AZhXo37qRxvZCnUEACWX8nT+VBSu3UUxrmHeEBppIGf5h1Jh1piO1KvWqIOFuh5L45nWxz3BeUQb\r\n\tnESOavSVQkqx6vUHkO4A"
	"A9oG8+9Eum4bPHdt9FJl8k+x2Ur+I49aGPpob1tajoQiQtAqXIu9Nwrm\r\n\tuMZgGGWfg1vVdaLC6RRXibkwaZkzdbi7FzqKzraSE"
	"3Ih+E9LD0GB3YP4QxloS+3bzz0i4P9lULIJ\r\n\tSmEgIDq/x20wL4EfLL5+O8X982G/qGyEoa4nSEsui/obvoaISoJoVCVlbT7jpN"
	"rCUQfeWI18dRk9\r\n\tRGEgIoqGfaNnWy2iODL4k3n22KWxFudGNJlb3S9ElIyxnf7DkN3QdRN3yKLuKq/NWlJAvbwXcmxB\r\n\tppCv"
	"Hiiwm1w3wQr/8y7hjfI5U7F8Lwn7nqdFnhcsGLtam5qc0cs9MQBTRy+F+cmsW44NgFYQCd6F\r\n\tP17JQiiHyw9Amr9ifzTaDTkpt"
	"DKVF8ItiZGPunkGXQhcGzaZ5jLvmZz8H2kzVlcJOTQLfIUPyCQ2\r\n\tdaLegdF/Nw+u1NI6tZXOE92KuXV53yYeYtx/wWpCMFOrjQ"
	"SKgO5iaHK+7lr1kO5m7VYekQnXgoIf\r\n\tnHdLJGYEM2t34tSs9pusEH8IZcxlGyaUvWUtpud2OqcbGdyrrDAkbvXSydmngsPJ5zh"
	"fvhG/TZ+F\r\n\tHeo3MCy9kQmDVaUfgHtQKn0u1AFxIJ0q4bKKxAIJsnCzNReSeh4chNUAXH2h3iUw";
static const char vv_bad_what[] =
	" AZhXo37qRxvZ63Sum+TEi3uH9oBxEpuX+BU8E5UiZhFGfyOWr8jeu4ppKDFw3vDhpO8K7RUbzv1T\r\n\tyR00niCpSEJXIdciEnQc"
	"9jE1/rwsM4BxF1jp4Pc7c5KJ1o/H0RSK9x78eGL6TULF7SfATiHUX1LZ\r\n\tJKQSI9R69CwvItKA5h3pmICgeLKkJbvsZBGCAEiIF"
	"54398lfEKwAQmIgZS5G8NE2JZrByM7J9sSQ\r\n\tHqK5QpS7vZkvwMdqJw+iHt94WRBX1A3ax6m33TuBv2kvKA5YXPTceN2YLZV4bV"
	"R4qw9EjXAmqUZK\r\n\tl2xg07/3zZGT6s5vZZK5jHBoeeJc7xrhjHBMyReWYxqv12f9/nj577llHlKUNF8rBfFA34a+PDro\r\n\tgeoq"
	"NpxwAY2WKNS5uQ2sQB9FRTEcT4xudq2hyZTcgZo5YzPprpJXomTkKzMuqOu3uYmeG4o3lHRH\r\n\twdbzaBuhBIEZAl0OfjL6ZLDSA"
	"a+9VP3GskHbF7mkJMsWdewzk3n7cnQZLlsO+UXhV8vaF8/KWtpX\r\n\tSiToVV+qUgkj0MHgQOEn7n5ujf8t5OCDTWirUKNy1ffs4L"
	"WDaM/8EdLtPztZepfNaaCwjFUCIyVL\r\n\t1eJP2a3xLiyIznyFURXM5j6/Y9RWjApnIuwbV9niCjQmFw9D+3AkZLf5efkgrqPjVRc"
	"H7AaOJ5Kg\r\n\txwQlEegoaK3ti8Q6rLLp55D3MqEEISybtCx3Z5Mz2k00rWMZC8Ru0nouiezLF0DQ";
static const char vv_bad_flags[] =
	" AZhXo37qRxvZXttvvisLjt3ty0ZLBXXfgy/oNWvRZxlRvTSth3gb7g31WP/rZh/YwJ8cXyOpip6C\r\n\tlPwTmSGDDkxxF9taFklq"
	"IbiWMnpXyWqcNma8V7qBQ8blIT29ali4v6hoXuU7ACbz5YBfn7nPxv+Q\r\n\txRUaWJ0kZNDiaXKP4PD2UqkEscprMGMkmCwisqtoq"
	"/X54QprgwfD7yiE0kCEGMwmqlpiUGoMeojU\r\n\tKBKCufs2FIoolwYmkdHFZPdUbbqmNOj9rAyYB7jXj3o2trjfGzTQEDFYAa0Cvt"
	"5G6bYrGX/ddmtK\r\n\t2o466/ENIyGkqkBZa1g50W0DUjmRbidnC/H8WmjetI8jf+PEAfP/+Cryg3B3k5Ej0hv5lPXjc0KB\r\n\tmXGC"
	"3NZbNc0cW2DQ6WvCxBQuu4i2Y6emiC+DlQuYhdl6HitTSFr7hgr5fSO4hcjsAjallicZ1n/G\r\n\trqeca+h0Pjv0en7cBMHKRcMu8"
	"xz4S3VVhltkgpczoSsWKXcr14ldVMwMBnDDQrsbGIKr/W6kdlmM\r\n\tip2F3TBwuzXPWLHepouNop0euZF/Hym/Lb84tHOio8x8Zi"
	"GYvazHLcaxkB2mgCx9S5f/jZAaHH95\r\n\tS3VMfXpy9Jb5wqXF5Kl/r1Z5uTkPBqXQvxJtwa6oZi7aOWivIo02D3oFsZcfeDYeDn1"
	"krN7f7UIw\r\n\txQ8bIUwVMXoY+vXXS5aYik3ij91AF+XeroaECtXkhw6cMEGzI6DrcJnxaoJiuiUV";
static const char vv_bad_code[] =
	" AZhXo37qRxvZ51axXD3nyEbSACovVoyqLi5Tkr49IwPNC/b5xsXxgR+7bl4BPpbuiR8G4ag1Fsx7\r\n\tQjS+Si83WKrPPcNs6ECA"
	"wTQG26d+ct9NmOyODP5ZKTGgE4gGCeeprXGo1DPL3aTkDkeqIv0yoZC0\r\n\toFa7awK6RyrwXVxCeFtoWMV7neil2G/6FPAHHon3n"
	"rjJ2j/jtROcnktey9W2fatTFCvTIn9U8Vk5\r\n\teX/ocLfpLPahHMes/ACliDDanQ5Uiuu4t4SKaBC1byUduivQayu+46zRTZ1RVI"
	"vJ1T61h6rg2zGo\r\n\tqENruEXa93Xi1mPmfL1+T31nj14on9EteAcFhEj6RXFy5VTkdqC0C9Sh8ne6qAzZhAbBnNigIDy2\r\n\t67vv"
	"2qPbb7BN2P8romXs7DnjIGa0dgimGl8t5jiabASQHQ3GBV8kBOpUSd2OiQz8FN+bxmj1Gwli\r\n\tWfSG+0vsJB2EzeMde8Ln3SkxL"
	"DzBxI3TUgEyJmp/8zXoVftOe4/S5rMKVvPiTyG24n6fn9R/Hkas\r\n\tZ0ALb4uOiKGBgx/dDeUp+w5gsRjszD8IlywXK1Jf3F1EQD"
	"N0gNpqc9T9qj5I6CUF+Wph2lyfJGgb\r\n\tLcfsQsOCdID/hjZ2r/1r94BFday1omIze4uFalnxzTgHjHH8TrmJTJGUwiQrrVfF5II"
	"KG/UjpxTr\r\n\tW/oXdXTsDG+DbOeRvjwGZ8+PvlCZ+fkTxokGl/DsAhJ6aj3G/1PyQL8ywPmZfOBG";
static const char vv_bad_folder[] =
	" AZhXo37qRxvZrGDAYY7E/JQG/HlpgVOw/6vJHvQdA1/ir5Ao9smjXEWwVpPghb9md87L7+AgSOyA\r\n\t8abZHxeYhGlsAXOYDeY3"
	"0nN9lVZehhBKz/59PxMXKE2CjhnYkpMIp1eAKupoZMhey+G3z2EBYSVw\r\n\t+FE9mrUs0vZ8Sp4bbDu/0unv5HwBJ2VVLV0BYAChV"
	"8vcOM4XYL55NP3h2q10fmLQeoUsT1/3a1M4\r\n\tr8lS8eMjT/ey7i30PfQeRzWVf7r+uKmnKS3gUtn6pZGDPgAQ70jyqJMj6ozqJ9"
	"l8phnIoq6CdKJ4\r\n\tn47mZAGeX2PTpSUbgRoPIJVnvDnJSniDGzic7umCbvQs/OqaXyXOfsIzBH06g4syWj1Se52/1yjq\r\n\tYvnf"
	"RzbRnjImtI6WRSG3f98Lh7cR9mf0YNy4/mRNubLtCOh81eu29mhKM7tvjtJvFdRCgKjmNoSI\r\n\teyKMK1DqpcChMQjdgYnVIJHLA"
	"yp2x2TgpOzE/DjRjZmSI3n7uZ/g7kzeIbHuRLn2uTwtoko0B+F4\r\n\tbONyEeyCK6WkQsvxe6S2WD9ZfP7QEVhi8N2i9so9tj3ERF"
	"yJ5LyxDNwlmhomU6zk6sIuNzl8xVlo\r\n\tjhvPiqytS+yvW2n6zqFAhUdh+Eh2Ypuf19KnAz9I7VtqXT6T3hMRyeOKoML3+m9mA33"
	"ViotIaZrR\r\n\ttkfSkwv0vsGxBKSOZory3gciq/ZQ1blguhAsuHZ9oDDxqZFGY3xCoMjXN9FD3iFW";
static const char vv_bad_padding[] =
	" AZhXo37qRxvZdLSZiFM8cYlKlkNqF2twIy+l+/qtJuZPQu95nfIBWvsYe+B6VLTp04ecU49ga0qa\r\n\t38Da5Akd8H0alrIS8ygy"
	"BWqbu9fjZQS8K7uBMq2anxdoenvA7okvK3wkbaGQAzbRrC6UtJl7QX2s\r\n\teKaTTS24ntTl8kdZOt+hYhmkRN1/N2sW3ycxA32Sr"
	"aU2vEVszuQvOPmuAFZpielPgn0LmpWhcJrn\r\n\t83YyIRehd9LJ9EAMuUavnMyYNQCW/Nul/mXWGNSLM7zBe6UYNhDrhwdP5bQfv4"
	"lz+f/6NZYxGeRf\r\n\tY1QLJvoOLfXVJTuWtojpQ1chF2karbwCQhEPUXWUD9rktAcSfPgJFeQbP/dLSVgSAMO8LlfntLSD\r\n\tnXA/"
	"rtgmR0hvGT9MnLBZgVCHIDvac4xO63NFCWBF6rK4EOH3AZABQmcEp2XiMpdiF+gZoyWQF2b+\r\n\tRkexmHn2xVOOG0oLcj2YvoSyC"
	"aZU2kT9soplhSvB2lbfrP9wPzO0znFJhnHwsNqYQ7JjY6pFnj74\r\n\tgF80ohaUqQrYjaexXgbPqdiYv2Ma/nimB//oPSodo3mGQ0"
	"3Hk3PMiGWpTGq00smDdxj9oX6Ucbj0\r\n\tC+IGSPX4NzUNUJ2HN7jyzTMI+dZe+GcCic7tzHDnkemEOh1h36SWupXjfeMkojctwes"
	"E3xnnkbrn\r\n\tI+wAGSH+ufKwtoHaBXNqpoDs48qfho8YNeF5URt8DlfuMLwXi+pM7PlMSqriQFJO";
