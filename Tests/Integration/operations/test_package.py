"""The Debian package of the binary under test: built, checked by Debian's own tools, installed and removed."""

import gzip
import os
import re
import shutil
import subprocess
import types

import pytest
from support.process import ROOT, binary, clean_environment, run

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="dpkg installs as root only")


def tool(*command, **more):
    """Runs a tool to its end and returns what it said, which must be success."""
    done = subprocess.run(
        [str(part) for part in command], stdout=-1, stderr=-2, text=True, timeout=120, stdin=-3, **more
    )  # fmt: skip
    assert done.returncode == 0, f"{command[0]}: {done.returncode}\n{done.stdout}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The package of the binary under test, and what is in it."""
    for need in ("dpkg-deb", "dpkg-shlibdeps", "strip"):
        if not shutil.which(need):
            pytest.skip(f"{need} is missing")
    folder = tmp_path_factory.mktemp("package")
    # A debug build is large; packing it well takes half a minute.
    fast = {"DPKG_DEB_COMPRESSOR_TYPE": "gzip", "DPKG_DEB_COMPRESSOR_LEVEL": "1"}
    said = tool(ROOT / "packaging/build-deb.sh", binary(), folder / "out", env={**clean_environment({}), **fast})
    path = said.splitlines()[-1]
    assert os.listdir(folder / "out") == [os.path.basename(path)]
    tool("dpkg-deb", "--extract", path, folder / "content")
    control = dict(re.findall(r"^(\S+): (.*)$", tool("dpkg-deb", "--field", path), re.M))
    return types.SimpleNamespace(path=path, content=folder / "content", control=control)


@pytest.fixture
def system(built, tmp_path):
    """A system of its own, with its own list of packages, in which only the package's dependencies are installed."""
    database = tmp_path / "var/lib/dpkg"
    for name in ("info", "updates", "triggers"):
        (database / name).mkdir(parents=True)
    needed = re.findall(r"(?:^|, )([a-z0-9.+-]+)", built.control["Depends"])
    status = [tool("dpkg-query", "--status", name).strip() for name in needed]
    (database / "status").write_text("\n\n".join(status) + "\n")
    # The package's scripts run here, not in there, and are told by DPKG_ROOT.
    dpkg = ["dpkg", f"--root={tmp_path}", "--force-script-chrootless", "--log=/dev/null"]

    def act(*arguments):
        return tool(*dpkg, *arguments, env={**os.environ, "LC_ALL": "C.UTF-8"})

    def state():
        command = ["dpkg-query", f"--admindir={database}", "-W", "-f", "${db:Status-Status}", "sidesocket"]
        return subprocess.run(command, capture_output=True, text=True).stdout or "unknown"

    return types.SimpleNamespace(root=tmp_path, dpkg=act, state=state, settings=tmp_path / "etc/sidesocket")


def test_the_package_bears_the_version_and_depends_on_what_the_binary_is_linked_with(built):
    [version] = re.findall(r"sidesocket (\S+)\n", run("--version").stdout)
    assert built.control["Version"] == f"{version.replace('-', '~')}-1"
    assert built.control["Architecture"] == tool("dpkg", "--print-architecture").strip()
    needed = {name for name in re.findall(r"(?:^|, )([a-z0-9.+-]+)", built.control["Depends"])}
    # Whose libraries the loader takes, asked of the loader.
    for line in tool("ldd", built.content / "usr/bin/sidesocket").splitlines():
        path = re.search(r"=> (/(?:usr/)?lib/\S+)", line)
        if path:
            owner = tool("dpkg", "--search", f"*/{os.path.basename(path[1])}").partition(":")[0]
            assert owner in needed, line
    assert {"libsqlite3-0", "zlib1g"} <= needed


def test_lintian_finds_nothing(built):
    if not shutil.which("lintian"):
        pytest.skip("lintian is missing")
    done = subprocess.run(
        ["lintian", "--no-cfg", "--allow-root", "--fail-on=none", built.path], capture_output=True, text=True
    )
    faults = done.stdout.splitlines()
    # A debug build finds Swift's libraries where they are on this machine; `make package` links them in.
    if "libswiftCore" in tool("ldd", binary()):
        faults = [line for line in faults if "custom-library-search-path" not in line]
    assert (done.returncode, faults) == (0, []), done.stdout + done.stderr


def test_the_man_page_renders_without_a_warning_and_says_all_that_help_says(built):
    if not shutil.which("man"):
        pytest.skip("man is missing")
    page = built.content / "usr/share/man/man1/sidesocket.1.gz"
    wide = {**os.environ, "MANWIDTH": "2000", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(["man", "--warnings", "-l", page], capture_output=True, text=True, env=wide, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    shown = " ".join(re.sub(r".\x08", "", done.stdout).split())
    for line in run("--help").stdout.splitlines()[1:]:
        for part in re.split(r"  +", line.strip()):
            # A heading of roff has no colon; lines of a paragraph are joined.
            assert part.removesuffix("Usage:") in shown, f"{part!r} is not in the man page"
    for section in ("NAME", "SYNOPSIS", "DESCRIPTION", "SIGNALS", "EXIT STATUS", "FILES"):
        assert re.search(rf"^{section}$", done.stdout, re.M), section


def test_the_units_of_the_package_and_of_the_example_differ_in_the_binarys_place_only(built):
    packed = (built.content / "lib/systemd/system/sidesocket.service").read_text().splitlines()
    example = (ROOT / "examples/systemd/sidesocket.service").read_text().splitlines()
    assert "ExecStart=/usr/bin/sidesocket" in packed
    packed = [line.replace("/usr/bin/", "/usr/local/bin/") for line in packed if "man:" not in line]
    # The comment on how to install it by hand is gone.
    assert packed == example[example.index("[Unit]") :]


def test_every_example_in_the_packages_settings_passes_check(built):
    path = built.content / "etc/sidesocket/sidesocket.env"
    assert (path.stat().st_mode & 0o777) == 0o600
    examples = dict(re.findall(r"^#(SIDESOCKET_\w+)=(.*)$", path.read_text(), re.M))
    assert "SIDESOCKET_APP_URL" in examples
    done = run("check", env=examples)
    assert done.returncode == 0, done.stderr
    # Each shows a line's form only: nothing is set before somebody has decided on it.
    assert re.findall(r"^[^#\s]", path.read_text(), re.M) == []


def test_the_libraries_that_are_linked_in_have_their_licenses_in_the_package(built):
    notices = gzip.open(built.content / "usr/share/doc/sidesocket/third-party-notices.gz", "rt").read()
    if not (ROOT / ".build/checkouts").is_dir():
        pytest.skip("the libraries' sources are not here")
    for name in ("swift-nio/LICENSE.txt", "swift-nio-ssl/NOTICE.txt", "jwt-kit/LICENSE"):
        assert f"=== {name}\n" in notices


@needs_root
def test_the_package_is_installed_keeps_settings_when_removed_and_leaves_nothing_when_purged(built, system):
    system.dpkg("--install", built.path)
    assert system.state() == "installed"
    program = system.root / "usr/bin/sidesocket"
    assert tool(program, "--version") == run("--version").stdout
    # Without a setting it would not start, so it is not enabled.
    assert not (system.root / "etc/systemd/system/multi-user.target.wants/sidesocket.service").is_symlink()
    settings = system.settings / "sidesocket.env"
    assert (settings.stat().st_mode & 0o777, settings.stat().st_uid) == (0o600, 0)
    settings.write_text("SIDESOCKET_APP_URL=http://127.0.0.1:3000\n")
    (system.root / "var/lib/sidesocket").mkdir()

    system.dpkg("--remove", "sidesocket")
    assert system.state() == "config-files"
    assert not program.exists() and not (system.root / "lib/systemd/system/sidesocket.service").exists()
    assert settings.read_text() == "SIDESOCKET_APP_URL=http://127.0.0.1:3000\n"

    system.dpkg("--install", built.path)
    assert settings.read_text() == "SIDESOCKET_APP_URL=http://127.0.0.1:3000\n"

    system.dpkg("--purge", "sidesocket")
    assert system.state() in ("not-installed", "unknown")
    left = [path for path in system.root.rglob("*sidesocket*") if path.is_file() or path.is_symlink()]
    assert left == [] and not system.settings.exists() and not (system.root / "var/lib/sidesocket").exists()


@needs_root
def test_an_update_of_an_enabled_service_leaves_it_enabled_and_a_purge_disables_it(built, system):
    system.dpkg("--install", built.path)
    helper = ["deb-systemd-helper", "enable", "sidesocket.service"]
    tool(*helper, env={**os.environ, "DPKG_ROOT": str(system.root), "DPKG_MAINTSCRIPT_PACKAGE": "sidesocket"})
    link = system.root / "etc/systemd/system/multi-user.target.wants/sidesocket.service"
    assert link.is_symlink()
    system.dpkg("--install", built.path)
    assert link.is_symlink()
    system.dpkg("--purge", "sidesocket")
    assert not link.is_symlink()
