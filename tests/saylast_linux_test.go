package tests_test

// go test ./... doesn't show the output of packages that pass. So sayLast writes to the output of the go command itself.

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sayLast prints the line where the person who runs the tests sees it, after the other packages' tests have ended. If it finds no
// go command, it prints to standard output, which go test -v shows.
func sayLast(line string) {
	parent := os.Getppid()
	out, err := outputOf(parent)
	if err != nil || testing.Verbose() || isGo(parent) == "" {
		fmt.Println(line)
		return
	}
	defer out.Close()
	if same(out, os.Stdout) {
		fmt.Println(line) // a run of one package, whose output is shown
		return
	}
	awaitOthers(parent)
	fmt.Fprintln(out, line)
}

// isGo returns the name of the process if it is the go command, and "" otherwise.
func isGo(pid int) string {
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if strings.TrimSpace(string(name)) != "go" {
		return ""
	}
	return "go"
}

// outputOf returns a process's standard output. It is the same open file, so that both write at the same position. If the kernel
// refuses that, outputOf opens the file anew.
func outputOf(pid int) (*os.File, error) {
	if process, err := unix.PidfdOpen(pid, 0); err == nil {
		defer unix.Close(process)
		if fd, err := unix.PidfdGetfd(process, 1, 0); err == nil {
			return os.NewFile(uintptr(fd), "stdout"), nil
		}
	}
	return os.OpenFile(fmt.Sprintf("/proc/%d/fd/1", pid), os.O_WRONLY|os.O_APPEND, 0)
}

func same(a, b *os.File) bool {
	one, err := a.Stat()
	other, err2 := b.Stat()
	return err == nil && err2 == nil && os.SameFile(one, other)
}

// awaitOthers waits until this is the only test that the go command still runs. It gives up before the time limit of go test.
func awaitOthers(parent int) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	quiet := 0
	for began := time.Now(); time.Since(began) < 8*time.Minute && quiet < 3; <-tick.C {
		quiet++
		if len(childrenOf(parent)) > 1 {
			quiet = 0
		}
	}
}

// childrenOf lists the processes that a process has started.
func childrenOf(pid int) []string {
	var all []string
	lists, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children")
	for _, list := range lists {
		text, _ := os.ReadFile(list) // fails for a thread that has ended
		all = append(all, strings.Fields(string(text))...)
	}
	return slices.Compact(slices.Sorted(slices.Values(all)))
}
