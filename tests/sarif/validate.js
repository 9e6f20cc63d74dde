// Validates a SARIF log against the schema of SARIF 2.1.0, which the authors of the format publish with their matchers.
//
// In: the path of a log. Out: exit code 0, or 1 with what the schema does not allow.
// Left out on purpose: `format: uri-reference` and its kin, which this validator knows by itself; what the prose of the standard asks.
'use strict';

const fs = require('fs');
const Ajv = require('ajv');

const schema = JSON.parse(fs.readFileSync(require.resolve('@microsoft/jest-sarif/lib/schemas/sarif-2.1.0-rtm.5.json'), 'utf8'));
const validator = new Ajv({ allErrors: true, unknownFormats: 'ignore', schemaId: 'auto' });
if (/draft-04/.test(schema.$schema)) {
  validator.addMetaSchema(require('ajv/lib/refs/json-schema-draft-04.json'));
}
const log = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
if (!validator.validate(schema, log)) {
  console.error(validator.errorsText(validator.errors, { separator: '\n' }));
  process.exit(1);
}
