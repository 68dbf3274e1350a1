package main

// Secrets' files are replaced in every usual way, and the gateway notices.

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"

	"roomgate/internal/sandbox"
)

// swaps are ways to replace the folder dir/cur, which has the file jwt, by another. make makes the first, swap replaces it. text is the
// content of jwt.
var swaps = map[string]struct {
	make, swap func(t *testing.T, dir, text string)
}{
	"link": {
		func(t *testing.T, dir, text string) {
			newFolder(t, dir, "v1", text)
			do(t, os.Symlink("v1", filepath.Join(dir, "cur")))
		},
		func(t *testing.T, dir, text string) {
			newFolder(t, dir, "v2", text)
			do(t, os.Symlink("v2", filepath.Join(dir, "t")))
			do(t, os.Rename(filepath.Join(dir, "t"), filepath.Join(dir, "cur"))) // like mv -T
		},
	},
	"folder": {
		func(t *testing.T, dir, text string) { newFolder(t, dir, "cur", text) },
		func(t *testing.T, dir, text string) {
			newFolder(t, dir, "next", text)
			do(t, os.Rename(filepath.Join(dir, "cur"), filepath.Join(dir, "past")))
			do(t, os.Rename(filepath.Join(dir, "next"), filepath.Join(dir, "cur")))
		},
	},
	"link of a link": {
		func(t *testing.T, dir, text string) {
			newFolder(t, dir, "a", "")
			newFolder(t, filepath.Join(dir, "a"), "v1", text)
			do(t, os.Symlink("v1", filepath.Join(dir, "a", "now")))
			do(t, os.Symlink(filepath.Join(dir, "a", "now"), filepath.Join(dir, "cur")))
		},
		func(t *testing.T, dir, text string) {
			newFolder(t, filepath.Join(dir, "a"), "v2", text)
			do(t, os.Symlink("v2", filepath.Join(dir, "a", "t")))
			do(t, os.Rename(filepath.Join(dir, "a", "t"), filepath.Join(dir, "a", "now")))
		},
	},
}

func do(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newFolder makes the folder dir/name with the file jwt.
func newFolder(t *testing.T, dir, name, text string) {
	t.Helper()
	do(t, os.Mkdir(filepath.Join(dir, name), 0o700))
	put(t, filepath.Join(dir, name), map[string]string{"jwt": text})
}

// otherSecret is a JWT secret that the stand-in of Glory doesn't use.
const otherSecret = "another-member-jwt-secret-of-more-than-48-bytes-000000"

// newFollower starts a gateway whose JWT secret is in the file path. takesOther reports whether it accepts tokens of otherSecret.
func newFollower(t *testing.T, stands *sandbox.Sandbox, path string) (takesOther func() bool) {
	t.Helper()
	client := newClient(t)
	elsewhere, err := sandbox.NewGlory(sandbox.Options{JWTSecret: otherSecret})
	do(t, err)
	r := startReplica(t, append(settings(stands, newRedis(t).Addr), "GLORY_JWT_SECRETS=", "MEMBER_RATE_LIMIT=0", "GLORY_JWT_SECRETS_FILE="+path))
	token := elsewhere.MintToken("1", time.Hour)
	takesOther = func() bool { return get(t, client, r.url+"/v1/info", token).status == 200 }
	if takesOther() {
		t.Fatal("at the start")
	}
	return takesOther
}

func TestASwappedFolderOfSecretsIsNoticed(t *testing.T) {
	t.Parallel()
	for name, how := range swaps {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, stands := t.TempDir(), newStands(t)
			how.make(t, dir, stands.Glory.Secret())
			takesOther := newFollower(t, stands, filepath.Join(dir, "cur", "jwt"))
			how.swap(t, dir, otherSecret)
			eventually(t, "the new secret is in use", takesOther)
		})
	}
}

func TestABusyNeighbourInTheFolderPutsNoReloadOff(t *testing.T) {
	t.Parallel()
	dir, stands := t.TempDir(), newStands(t)
	newFolder(t, dir, "cur", stands.Glory.Secret())
	takesOther := newFollower(t, stands, filepath.Join(dir, "cur", "jwt"))
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for tick := time.NewTicker(20 * time.Millisecond); ; {
			select {
			case <-stop:
				tick.Stop()
				return
			case <-tick.C:
				_ = os.WriteFile(filepath.Join(dir, "cur", "log"), []byte(time.Now().String()), 0o600)
			}
		}
	}()
	put(t, filepath.Join(dir, "cur"), map[string]string{"jwt": otherSecret})
	eventually(t, "the new secret is in use", takesOther)
	close(stop)
	<-stopped
}

func TestASystemWithoutInotifyIsLookedAt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "secret")
	put(t, dir, map[string]string{"secret": "old"})
	var log strings.Builder
	none := func() (*fsnotify.Watcher, error) { return nil, errors.New("too many open files") }
	w := newWatch([]string{path}, slog.New(slog.NewTextHandler(&log, nil)), none)
	t.Cleanup(w.close)
	if w.events() != nil || w.errors() != nil || w.every() != watchBlind || !strings.Contains(log.String(), "too many open files") {
		t.Errorf("every %v, and the log says %q", w.every(), log.String())
	}
	now := time.Now()
	seen := func(want ...bool) {
		t.Helper()
		now = now.Add(watchSettle)
		changed, again := w.look(now)
		if got := []bool{changed, again}; !slices.Equal(got, want) {
			t.Errorf("changed, again: %v, want %v", got, want)
		}
	}
	seen(false, false)
	put(t, dir, map[string]string{"secret": "new"})
	seen(false, true)
	put(t, dir, map[string]string{"secret": "newer"}) // it hasn't settled yet
	seen(false, true)
	seen(true, false)
	seen(false, false)
	for i := range int(watchLongest/watchSettle) + 1 { // it never settles
		put(t, dir, map[string]string{"secret": strings.Repeat("x", i)})
		if i <= int(watchLongest/watchSettle)-1 {
			seen(false, true)
		}
	}
	seen(true, false)

	quiet := newWatch(nil, slog.New(slog.NewTextHandler(&log, nil)), func() (*fsnotify.Watcher, error) {
		t.Error("there are no files, but inotify is opened")
		return nil, errors.New("none")
	})
	quiet.close()
}
