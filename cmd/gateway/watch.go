package main

// A file may change in place, by a rename, or by a swapped link on its path. A watch notices all three.

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
	watchSettle  = 200 * time.Millisecond // wait for files that change together
	watchLongest = 2 * time.Second        // then a file that keeps changing is taken as it is
	watchLook    = time.Minute            // between looks, for changes without an event
	watchBlind   = 3 * time.Second        // between looks, where there are no events
)

// watch reports when the content of files has changed. It is not safe for concurrent use.
//
// An event only causes a look at the files; their content decides. So another file that changes often in the same folder costs a
// few reads a second, and no reload.
type watch struct {
	paths   []string
	log     *slog.Logger
	watcher *fsnotify.Watcher      // nil: there are no events
	folders map[string]fs.FileInfo // those that watcher watches
	used    [sha256.Size]byte      // the content in use
	before  [sha256.Size]byte      // the content at the last look
	since   time.Time              // of the first look whose content differs from used; zero: it doesn't
}

// newWatch starts to watch paths. Without paths it opens nothing. If open fails, there are no events, and the caller looks more
// often: see every. The caller closes the watch.
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
	w.log.Warn("no events of changed files; reading the files instead", "every", watchBlind.String(), "error", err.Error())
}

// close releases the system's watches.
func (w *watch) close() {
	if w.watcher != nil {
		_ = w.watcher.Close()
	}
}

// every returns how long to wait for an event before the next look.
func (w *watch) every() time.Duration {
	if w.watcher == nil {
		return watchBlind
	}
	return watchLook
}

// events returns nil, which blocks for ever, if there are no events.
func (w *watch) events() <-chan fsnotify.Event {
	if w.watcher == nil {
		return nil
	}
	return w.watcher.Events
}

// errors returns nil, which blocks for ever, if there are no events.
func (w *watch) errors() <-chan error {
	if w.watcher == nil {
		return nil
	}
	return w.watcher.Errors
}

// look reads the files. changed: their content differs from the one in use and has settled; from now on it counts as in use. again:
// the caller looks again after watchSettle.
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

// content returns a digest of all files. It changes when a file can no longer be read, too.
func (w *watch) content() (digest [sha256.Size]byte) {
	all := sha256.New()
	for _, path := range w.paths {
		one := sha256.New()
		read := readInto(one, path)
		fmt.Fprintf(all, "%v %x\n", read, one.Sum(nil))
	}
	return [sha256.Size]byte(all.Sum(nil))
}

// readInto copies a regular file and reports whether it could be read. It doesn't read pipes, because that would take their data
// from other readers.
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

// follow watches the folders of all files, as foldersOf lists them, and no others. A folder that was replaced is watched anew.
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
			_ = w.watcher.Remove(folder) // fails if the folder is gone
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

// linksMost is how many links a path may lead through, as on Linux.
const linksMost = 40

// foldersOf lists the folders in which a change may put another file at path: the file's folder and its parent, and for each link
// on the path the folder of the link and that of its target.
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

// firstLink returns the first link on an absolute path, and its target; "" if there is no link.
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
