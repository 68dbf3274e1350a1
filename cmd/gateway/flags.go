package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
)

// newFlags returns an empty flag set that prints its usage to stderr. It prints no errors, because main does.
func newFlags(command string, stderr io.Writer) *flag.FlagSet {
	flags := flag.NewFlagSet(command, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Usage = func() {
		_, _ = fmt.Fprintf(stderr, "usage: gateway %s\n", command)
		flags.SetOutput(stderr)
		flags.PrintDefaults()
		flags.SetOutput(io.Discard)
	}
	return flags
}

// parseFlags accepts only flags; another argument is an error. done: the user asked for help, and it was printed.
func parseFlags(flags *flag.FlagSet, args []string) (done bool, err error) {
	arguments, done, err := parseAround(flags, args)
	if len(arguments) > 0 {
		flags.Usage()
		return false, usageError(fmt.Sprintf("unexpected argument %q", arguments[0]))
	}
	return done, err
}

// parseAround accepts flags before, between and after arguments, and returns the arguments. done: the user asked for help, and it
// was printed.
func parseAround(flags *flag.FlagSet, args []string) (arguments []string, done bool, err error) {
	for {
		err := flags.Parse(args)
		if errors.Is(err, flag.ErrHelp) {
			return nil, true, nil
		}
		if err != nil {
			return nil, false, usageError(err.Error())
		}
		if args = flags.Args(); len(args) == 0 {
			return arguments, false, nil
		}
		arguments, args = append(arguments, args[0]), args[1:]
	}
}
