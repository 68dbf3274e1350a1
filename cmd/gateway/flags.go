package main

// This file parses a command's flags the way all commands do.

import (
	"errors"
	"flag"
	"fmt"
	"io"
)

// newFlags returns an empty flag set that prints its usage to stderr; what is wrong with the flags is for main to print.
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

// parseFlags takes flags only; anything else is a mistake. done tells that help was asked for and given.
func parseFlags(flags *flag.FlagSet, args []string) (done bool, err error) {
	arguments, done, err := parseAround(flags, args)
	if len(arguments) > 0 {
		flags.Usage()
		return false, usageError(fmt.Sprintf("unexpected argument %q", arguments[0]))
	}
	return done, err
}

// parseAround takes flags before, between and after arguments, and returns the arguments. Done: help was asked for.
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
