/**
 * The .bpm language for tree-sitter. The version of record is grammar/bpm.pest; this grammar reads every text that bpmc
 * reads, and is lenient elsewhere, so that colours and folds stay while a text is half typed.
 */

const PRECEDENCE = { or: 1, and: 2, compare: 3, add: 4, multiply: 5, prefix: 6, power: 7, postfix: 8 };

const list = (rule) => optional(seq(rule, repeat(seq(',', rule)), optional(',')));

module.exports = grammar({
  name: 'bpm',

  word: ($) => $.identifier,

  extras: ($) => [/[ \t\r\n\uFEFF]/, $.doc_comment, $.comment],

  // After `trace a = 0,` a name may declare another trace, or begin an update.
  conflicts: ($) => [[$.declaration]],

  rules: {
    source_file: ($) => repeat($._item),

    _item: ($) => choice($.version, $.import, $.dim, $.rule, $.cell, $.network, $.block),

    version: ($) => seq('bpm', $.number),
    import: ($) => seq('import', field('path', $.text)),
    dim: ($) => seq('dim', field('name', $.identifier), '=', field('value', $._expression)),
    rule: ($) => seq('rule', field('name', $.identifier), optional($.parameters), field('body', $.body)),
    cell: ($) => seq('cell', field('name', $.identifier), optional($.parameters), field('body', $.body)),
    network: ($) => seq('network', field('name', $.identifier), field('body', $.body)),

    parameters: ($) => seq('(', list($.parameter), ')'),
    parameter: ($) => seq(field('name', $.identifier), optional(seq('=', field('default', $._expression)))),

    // task cue_reward { cues = 4 }
    block: ($) =>
      seq(field('keyword', $.identifier), optional(field('name', $.identifier)), field('body', $.entries)),
    entries: ($) => seq('{', repeat(seq(choice($.setting, $.block), optional(','))), '}'),
    setting: ($) => seq(field('key', $.path), '=', field('value', $._expression)),

    body: ($) => seq('{', repeat(seq($._statement, optional(';'))), '}'),

    _statement: ($) =>
      choice(
        $.declaration, $.plastic, $.instance, $.transmit, $.connection, $.region, $.event, $.repetition, $.allowance, $.value, $.update,
      ),

    declaration: ($) =>
      prec.dynamic(
        1,
        seq(field('kind', $.declaration_word), $.declared, repeat(seq(',', $.declared)), optional(',')),
      ),
    declaration_word: () =>
      choice('input', 'state', 'noise', 'weight', 'coeff', 'trained', 'const', 'trace', 'modulator', 'output'),
    declared: ($) =>
      seq(
        field('name', $.identifier),
        optional($.index),
        optional($.size),
        optional(choice(seq('=', field('initial', $._expression)), seq('~', field('draw', $._expression)))),
        optional(choice(seq($.per, optional($.reset)), seq($.reset, optional($.per)))),
      ),
    size: ($) => seq(':', '[', $._expression, ']'),
    per: ($) => seq('per', field('granularity', choice($.identifier, alias('network', $.identifier)))),
    reset: ($) => seq('reset', field('policy', $.identifier)),

    // plastic rec: h -> y using retroactive(dopamine) { ... }
    plastic: ($) =>
      seq(
        'plastic', field('name', $.identifier), optional($.index), ':', field('pre', $.side), '->', field('post', $.side),
        choice(
          seq($.using, optional($.reset), optional(field('body', $.body))),
          seq(optional($.reset), field('body', $.body)),
        ),
      ),
    side: ($) => seq($.path, repeat(choice($.index, $.member))),
    using: ($) => seq('using', field('name', $.identifier), optional($.arguments)),

    // cell memory: lstm(obs, 200) reset carry
    instance: ($) =>
      seq(
        'cell', field('name', $.identifier), optional($.index), ':', field('cell', $.call), optional($.using),
        optional($.reset), optional(field('body', $.body)),
      ),

    transmit: ($) => seq('transmit', field('value', $._expression)),
    connection: ($) => seq('connect', 'where', field('mask', $._expression)),
    region: ($) =>
      seq(
        'on', field('side', $.identifier), '[', field('start', $._expression), '..', field('end', $._expression), ']',
        field('body', $.body),
      ),
    event: ($) => seq('when', field('condition', $._expression), field('body', $.body)),
    repetition: ($) =>
      seq(
        'for', field('variable', $.identifier), 'in', field('start', $._expression), '..', field('end', $._expression),
        field('body', $.body),
      ),
    allowance: ($) => seq('allow', '(', field('code', $.identifier), ',', field('reason', $.text), ')'),

    value: ($) =>
      seq(field('name', $._name), optional($.index), optional($.size), '=', field('value', $._expression)),
    update: ($) => seq(field('name', $._name), optional($.index), '<-', field('value', $._expression)),

    // Words that mean something only before another name or a parenthesis.
    _name: ($) =>
      choice(
        $.identifier, alias('cell', $.identifier), alias('for', $.identifier), alias('allow', $.identifier),
        alias('connect', $.identifier),
      ),

    _expression: ($) =>
      choice(
        $.binary, $.prefix, $.slice, $.next, $.external, $.call, $.path, $.number, $.text, $.list, $.group,
      ),

    binary: ($) => {
      const left = (precedence, operators) =>
        prec.left(
          precedence,
          seq(field('left', $._expression), field('operator', operators), field('right', $._expression)),
        );
      return choice(
        left(PRECEDENCE.or, '||'),
        left(PRECEDENCE.and, '&&'),
        left(PRECEDENCE.compare, choice('==', '!=', '<=', '>=', '<', '>')),
        left(PRECEDENCE.add, choice('+', '-')),
        left(PRECEDENCE.multiply, choice('*', '/')),
        prec.right(
          PRECEDENCE.power,
          seq(field('left', $._expression), field('operator', '^'), field('right', $._expression)),
        ),
      );
    },
    prefix: ($) => prec(PRECEDENCE.prefix, seq(field('operator', choice('-', '!')), $._expression)),

    // y[0 .. N], y[3], head[2].h
    slice: ($) =>
      prec.left(
        PRECEDENCE.postfix,
        seq(
          $._expression, '[', $._expression, optional(seq('..', $._expression)), ']', repeat($.member),
        ),
      ),
    index: ($) => seq('[', $._expression, ']'),
    member: ($) => seq(token.immediate('.'), field('name', $.identifier)),

    next: ($) => seq('next', $.path),
    external: ($) => seq('external', field('name', $.identifier)),
    call: ($) => prec(1, seq(field('function', $.identifier), $.arguments)),
    arguments: ($) => seq('(', list($.argument), ')'),
    argument: ($) => seq(optional(seq(field('name', $.identifier), '=')), field('value', $._expression)),
    list: ($) => seq('[', list($._expression), ']'),
    group: ($) => seq('(', $._expression, ')'),

    path: ($) => prec.right(seq($.identifier, repeat($.member))),

    identifier: () => /[A-Za-z_][A-Za-z0-9_]*/,
    number: () => /\d+(_\d+)*(\.\d+(_\d+)*)?([eE][+-]?\d+(_\d+)*)?/,
    text: () => /"[^"\n]*"/,

    doc_comment: () => token(prec(1, /\/\/![^\n]*/)),
    comment: () => token(/\/\/[^\n]*/),
  },
});
