// What `redocly lint` does, by its own engine: the command brings a renderer of 200 MB along. Warnings count as errors.
import { formatProblems, lint, loadConfig } from "@redocly/openapi-core";

const config = await loadConfig({ configPath: new URL("redocly.yaml", import.meta.url).pathname });
const problems = await lint({ ref: process.argv[2], config });
formatProblems(problems, { format: "codeframe", totals: { errors: 0, warnings: 0, ignored: 0 } });
process.exitCode = problems.length > 0 ? 1 : 0;
