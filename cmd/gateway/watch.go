package main

// This file notices that files have changed, however that is done: in place, by a rename, or by a link swapped somewhere on the
// way to them.

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	watchSettle  = 200 * time.Millisecond // several files change together
	watchLongest = 2 * time.Second        // a file that never stays as it is, is taken as it is
	watchLook    = time.Minute            // for what no event has told
	watchBlind   = 3 * time.Second        // without events
)

// watch tells when the content of files has changed. It is not safe for concurrent use.
//
// Events only say that a look may be worth it. The content decides, so that a busy neighbour in the folder costs a few reads a
// second and no reload.
type watch struct {
	paths   []string
	log     *slog.Logger
	watcher *fsnotify.Watcher // nil: there are no events
	folders map[string]fs.FileInfo
	used    [sha256.Size]byte // the content that was taken over last
	before  [sha256.Size]byte // the content at the last look
	since   time.Time         // when it was first seen to differ from used; zero: it doesn't
}

// newWatch begins to watch paths. Without paths it opens nothing. A system without inotify is no error: then the files are looked
// at every few seconds. The caller closes it.
func newWatch(paths []string, log *slog.Logger, open func() (*fsnotify.Watcher, error)) *watch {
	w := &watch{paths: slices.Compact(slices.Sorted(slices.Values(paths))), log: log, folders: map[string]fs.FileInfo{}}
	if len(w.paths) == 0 {
		return w
	}
	var err error
	if w.watcher, err = open(); err != nil {
		w.blind(err)
	}
	w.follow()
	w.used = w.content()
	return w
}

// blind goes on without events.
func (w *watch) blind(err error) {
	w.watcher = nil
	w.log.Warn("the system doesn't tell of changed files; looking at them instead", "every", watchBlind.String(), "error", err.Error())
}

// close gives the system's watches back.
func (w *watch) close() {
	if w.watcher != nil {
		_ = w.watcher.Close()
	}
}

// every is how often to look without an event.
func (w *watch) every() time.Duration {
	if w.watcher == nil {
		return watchBlind
	}
	return watchLook
}

// events is nil, and blocks for ever, where there are none.
func (w *watch) events() <-chan fsnotify.Event {
	if w.watcher == nil {
		return nil
	}
	return w.watcher.Events
}

// errors is nil, and blocks for ever, where there are none.
func (w *watch) errors() <-chan error {
	if w.watcher == nil {
		return nil
	}
	return w.watcher.Errors
}

// look reads the files. changed tells that they differ from what was taken over, and have settled; then they count as taken over.
// again asks for another look after watchSettle.
func (w *watch) look(now time.Time) (changed, again bool) {
	w.follow()
	content := w.content()
	same := content == w.before
	w.before = content
	switch {
	case content == w.used:
		w.since = time.Time{}
		return false, false
	case w.since.IsZero():
		w.since = now
		return false, true
	case !same && now.Sub(w.since) < watchLongest:
		return false, true
	}
	w.used, w.since = content, time.Time{}
	return true, false
}

// content is a digest of all files. One that can't be read has no content.
func (w *watch) content() (digest [sha256.Size]byte) {
	all := sha256.New()
	for _, path := range w.paths {
		one := sha256.New()
		read := readInto(one, path)
		fmt.Fprintf(all, "%v %x\n", read, one.Sum(nil))
	}
	return [sha256.Size]byte(all.Sum(nil))
}

// readInto reports whether the file could be read. A pipe isn't: whoever reads it takes what is in it from others.
func readInto(to io.Writer, path string) bool {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() { //nolint:gosec // the path is the operator's
		return false
	}
	f, err := os.Open(path) //nolint:gosec // the same
	if err != nil {
		return false
	}
	defer f.Close()
	_, err = io.Copy(to, f)
	return err == nil
}

// follow watches every folder in which a change may lead to other files: those on the way to each file that hold a link, that of
// the file, and its parent. A folder that was replaced is watched anew.
func (w *watch) follow() {
	if w.watcher == nil {
		return
	}
	now := map[string]fs.FileInfo{}
	for _, path := range w.paths {
		for _, folder := range foldersOf(path) {
			if info, err := os.Stat(folder); err == nil {
				now[folder] = info
			}
		}
	}
	for folder, info := range w.folders {
		if is, ok := now[folder]; !ok || !os.SameFile(info, is) {
			_ = w.watcher.Remove(folder) // it may have gone by itself
			delete(w.folders, folder)
		}
	}
	for folder, info := range now {
		if _, ok := w.folders[folder]; ok {
			continue
		}
		if err := w.watcher.Add(folder); err != nil {
			w.close()
			w.blind(err)
			return
		}
		w.folders[folder] = info
	}
}

// linksMost is how many links may be on the way to a file; the system follows no more either.
const linksMost = 40

// foldersOf lists the folders on the way to a file in which a change may lead to another.
func foldersOf(path string) []string {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil
	}
	folders := []string{filepath.Dir(path), filepath.Dir(filepath.Dir(path))}
	for range linksMost {
		link, target := firstLink(path)
		if link == "" {
			break
		}
		folders = append(folders, filepath.Dir(link))
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(link), target)
		}
		path = filepath.Join(target, path[len(link):])
		folders = append(folders, filepath.Dir(path))
	}
	slices.Sort(folders)
	return slices.Compact(folders)
}

// firstLink is the first part of an absolute path that is a link, and where it leads; "" where there is none.
func firstLink(path string) (link, target string) {
	for end := 1; end <= len(path); end++ {
		if end < len(path) && path[end] != filepath.Separator {
			continue
		}
		if to, err := os.Readlink(path[:end]); err == nil {
			return path[:end], to
		}
	}
	return "", ""
}
