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
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return true, nil
	case err != nil:
		return false, usageError(err.Error())
	case flags.NArg() > 0:
		flags.Usage()
		return false, usageError(fmt.Sprintf("unexpected argument %q", flags.Arg(0)))
	}
	return false, nil
}

// parseAround takes flags before, between and after arguments, and returns the arguments.
func parseAround(flags *flag.FlagSet, args []string) (arguments []string, err error) {
	for {
		if err := flags.Parse(args); err != nil {
			return nil, err //nolint:wrapcheck // flag.ErrHelp, or a text for the user
		}
		if args = flags.Args(); len(args) == 0 {
			return arguments, nil
		}
		arguments, args = append(arguments, args[0]), args[1:]
	}
}
